//! What an idle connection keeps.

use super::*;

#[test]
fn the_fixed_part_is_small() {
    // The rest (keys, a few lists) is measured by the benchmark of 10,000 idle connections.
    assert!(size_of::<Tls>() <= 64, "{}", size_of::<Tls>());
}

#[test]
fn an_idle_connection_keeps_no_buffer_and_not_its_acceptor() {
    let authority = Authority::new("root");
    let acceptor = acceptor(&ListenerTls::default(), &files(&[&authority.server(&[HOST])]));
    let mut pair = Pair::new(Peer::new(&authority).connect(), &acceptor);
    pair.shake();
    pair.client_sends(&[1; 10_000]);
    assert_eq!(pair.server.partial.capacity(), 0);
    assert_eq!(Arc::strong_count(&acceptor), 1, "a replaced certificate leaves memory");
}
