//! What a client writes.

use super::{AckKind, Connect, Filter, Publish, Version};

fn frame(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    length(&mut out, body.len() as u32);
    out.extend_from_slice(body);
    out
}

fn length(out: &mut Vec<u8>, mut n: u32) {
    loop {
        let low = (n % 128) as u8;
        n /= 128;
        out.push(if n > 0 { low | 0x80 } else { low });
        if n == 0 {
            return;
        }
    }
}

fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn properties(out: &mut Vec<u8>, version: Version, body: &[u8]) {
    if version == Version::V5 {
        length(out, body.len() as u32);
        out.extend_from_slice(body);
    }
}

/// CONNECT.
pub fn connect(connect: &Connect) -> Vec<u8> {
    let mut body = Vec::new();
    string(&mut body, if connect.version == Version::V31 { b"MQIsdp" } else { b"MQTT" });
    body.push(connect.version as u8);
    let will = connect.will.as_ref();
    let will_flags = will.map_or(0, |w| 0x04 | w.qos << 3 | u8::from(w.retain) << 5);
    let credentials = if connect.password.is_some() { 0xC0 } else { 0 };
    body.push(u8::from(connect.clean) << 1 | will_flags | credentials);
    body.extend_from_slice(&connect.keep_alive_s.to_be_bytes());
    let mut props = Vec::new();
    if let Some(s) = connect.expiry_s {
        props.push(0x11);
        props.extend_from_slice(&s.to_be_bytes());
    }
    if let Some(n) = connect.receive_max {
        props.push(0x21);
        props.extend_from_slice(&n.to_be_bytes());
    }
    if let Some(n) = connect.packet_max {
        props.push(0x27);
        props.extend_from_slice(&n.to_be_bytes());
    }
    if let Some(n) = connect.alias_max {
        props.push(0x22);
        props.extend_from_slice(&n.to_be_bytes());
    }
    properties(&mut body, connect.version, &props);
    string(&mut body, connect.client_id.as_bytes());
    if let Some(will) = will {
        let mut props = Vec::new();
        if will.delay_s > 0 {
            props.push(0x18);
            props.extend_from_slice(&will.delay_s.to_be_bytes());
        }
        if let Some(s) = will.expiry_s {
            props.push(0x02);
            props.extend_from_slice(&s.to_be_bytes());
        }
        properties(&mut body, connect.version, &props);
        string(&mut body, will.topic.as_bytes());
        string(&mut body, &will.payload);
    }
    if let Some(password) = connect.password {
        string(&mut body, connect.client_id.as_bytes());
        string(&mut body, password.as_bytes());
    }
    frame(0x10, &body)
}

/// PUBLISH.
pub fn publish(version: Version, publish: &Publish) -> Vec<u8> {
    let mut body = Vec::new();
    string(&mut body, publish.topic.as_bytes());
    if publish.qos > 0 {
        body.extend_from_slice(&publish.pid.to_be_bytes());
    }
    let mut props = Vec::new();
    if let Some(alias) = publish.alias {
        props.push(0x23);
        props.extend_from_slice(&alias.to_be_bytes());
    }
    if let Some(s) = publish.expiry_s {
        props.push(0x02);
        props.extend_from_slice(&s.to_be_bytes());
    }
    properties(&mut body, version, &props);
    body.extend_from_slice(&publish.payload);
    frame(0x30 | u8::from(publish.dup) << 3 | publish.qos << 1 | u8::from(publish.retain), &body)
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP with success.
pub fn ack(kind: AckKind, pid: u16) -> Vec<u8> {
    let flags = if kind == AckKind::Pubrel { 2 } else { 0 };
    frame((kind as u8) << 4 | flags, &pid.to_be_bytes())
}

/// SUBSCRIBE with one Subscription Identifier for all filters; 0: none.
pub fn subscribe(version: Version, pid: u16, subscription_id: u32, filters: &[Filter]) -> Vec<u8> {
    let mut body = pid.to_be_bytes().to_vec();
    let mut props = Vec::new();
    if subscription_id > 0 {
        props.push(0x0b);
        length(&mut props, subscription_id);
    }
    properties(&mut body, version, &props);
    for filter in filters {
        string(&mut body, filter.filter.as_bytes());
        let mut options = filter.qos;
        if version == Version::V5 {
            options |= u8::from(filter.no_local) << 2
                | u8::from(filter.retain_as_published) << 3
                | filter.retain_handling << 4;
        }
        body.push(options);
    }
    frame(0x82, &body)
}

/// UNSUBSCRIBE.
pub fn unsubscribe(version: Version, pid: u16, filters: &[String]) -> Vec<u8> {
    let mut body = pid.to_be_bytes().to_vec();
    properties(&mut body, version, &[]);
    for filter in filters {
        string(&mut body, filter.as_bytes());
    }
    frame(0xa2, &body)
}

/// PINGREQ.
pub fn pingreq() -> Vec<u8> {
    vec![0xc0, 0]
}

/// DISCONNECT; reason and expiry are for 5.0.
pub fn disconnect(version: Version, reason: u8, expiry_s: Option<u32>) -> Vec<u8> {
    if version != Version::V5 || (reason == 0 && expiry_s.is_none()) {
        return vec![0xe0, 0];
    }
    let mut body = vec![reason];
    let mut props = Vec::new();
    if let Some(s) = expiry_s {
        props.push(0x11);
        props.extend_from_slice(&s.to_be_bytes());
    }
    properties(&mut body, version, &props);
    frame(0xe0, &body)
}
