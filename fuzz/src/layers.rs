//! The layers below MQTT: any bytes are refused or read without a panic, and how they are cut into pieces changes nothing:
//! neither what MQTT gets, nor what is answered, nor how it ends.

use std::sync::Arc;

use myriad::transport::proxy::{Error, Header, Proxy};
use myriad::transport::websocket::Service;
use myriad::transport::{Buffers, End, Facts, Layers};

/// Bit 0 of the first byte: a good request comes before the bytes, which are then frames.
const UPGRADED: u8 = 1;
/// Bit 1 of the first byte: a PROXY header comes before everything.
const PROXIED: u8 = 2;
/// Bytes of the largest packet: small, so that the limit is met.
const PACKET_BYTES_MAX: u32 = 128;

const REQUEST: &[u8] = b"GET /mqtt HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// Lengths of pieces, drawn from a seed: mostly short, so that every boundary is cut somewhere.
struct Pieces(u64);

impl Pieces {
    fn next(&mut self) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        match self.0 >> 60 {
            0..=7 => 1,
            8..=12 => 1 + (self.0 >> 40 & 0x0F) as usize,
            _ => 1 + (self.0 >> 40 & 0x3FF) as usize,
        }
    }
}

/// What a connection comes to: bytes for MQTT, bytes for the client, what was learned, how it ended.
type Outcome = (Vec<u8>, Vec<u8>, Facts, Option<End>);

fn run(layers: &Layers, stream: &[u8], mut piece: impl FnMut() -> usize) -> Outcome {
    let (mut transport, mut buffers) = (layers.begin(), Buffers::default());
    let (mut up, mut down, mut facts, mut end) = (Vec::new(), Vec::new(), Facts::default(), None);
    let mut rest = stream;
    while end.is_none() && !rest.is_empty() {
        let (piece, later) = rest.split_at(piece().clamp(1, rest.len()));
        rest = later;
        let mut bytes = piece.to_vec();
        while end.is_none() && !bytes.is_empty() {
            end = transport.receive(&bytes, false, &mut buffers).err();
            up.append(&mut buffers.up);
            down.append(&mut buffers.down);
            if buffers.facts != Facts::default() {
                facts = buffers.facts.clone();
            }
            bytes = std::mem::take(&mut buffers.rest);
        }
    }
    let sent = transport.send(b"\x20\x02\0\0", &mut down);
    assert!(sent.is_ok(), "without TLS no keys are used up");
    transport.close(&mut down);
    let len = down.len();
    transport.close(&mut down);
    assert_eq!(down.len(), len, "farewell is said once");
    (up, down, facts, end)
}

/// Checks `data` as what comes to a WebSocket listener.
pub fn check_websocket(data: &[u8]) {
    let Some((&[mode, seed], bytes)) = data.split_first_chunk() else { return };
    let service = Service {
        path: "/mqtt".into(),
        origins: if mode & 4 == 0 { Vec::new() } else { vec!["https://example.org".into()] },
        packet_bytes_max: PACKET_BYTES_MAX,
        scheme: "ws",
    };
    let layers = Layers { proxy: mode & PROXIED != 0, websocket: Some(Arc::new(service)) };
    let stream = if mode & UPGRADED == 0 { bytes.to_vec() } else { [REQUEST, bytes].concat() };
    let whole = run(&layers, &stream, || usize::MAX);
    let mut pieces = Pieces(u64::from(seed) << 8 | u64::from(mode));
    assert_eq!(run(&layers, &stream, || pieces.next()), whole, "how it is cut changes nothing");
    assert!(whole.0.len() <= stream.len(), "nothing comes out that was not sent");
    // Pongs are as long as their pings, the answer to the request and the farewell are bounded.
    assert!(whole.1.len() <= stream.len() + 1024);
    if let Some(end) = whole.3 {
        assert_eq!(end.to_string().lines().count(), 1, "{end}");
    }
}

fn header(stream: &[u8], mut piece: impl FnMut() -> usize) -> Result<(Option<Header>, Vec<u8>), Error> {
    let (mut proxy, mut found, mut after, mut rest) = (Proxy::default(), None, Vec::new(), stream);
    while !rest.is_empty() {
        let (piece, later) = rest.split_at(piece().clamp(1, rest.len()));
        rest = later;
        let mut bytes = piece.to_vec();
        if found.is_none() {
            found = proxy.receive(&mut bytes)?;
        }
        after.extend(bytes);
    }
    Ok((found, after))
}

/// Checks `data` as what comes to a listener that expects PROXY headers.
pub fn check_proxy(data: &[u8]) {
    let Some((&seed, stream)) = data.split_first() else { return };
    let whole = header(stream, || usize::MAX);
    let mut pieces = Pieces(u64::from(seed));
    assert_eq!(header(stream, || pieces.next()), whole, "how it is cut changes nothing");
    match whole {
        Ok((Some(header), after)) => {
            assert!(stream.ends_with(&after), "what follows the header is left as it is");
            assert!(stream.len() - after.len() <= 16 + 512, "a header is bounded");
            assert!(header.source.is_none_or(|source| source.ip() == source.ip().to_canonical()));
        }
        Ok((None, after)) => {
            assert!(
                after.is_empty() && stream.len() < 16 + 512,
                "more than the longest header was waited for"
            );
        }
        Err(error) => assert_eq!(error.to_string().lines().count(), 1, "{error}"),
    }
}
