//! Quality of Service (MQTT 5.0 section 4.3).

/// A Quality of Service level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum QoS {
    /// QoS 0.
    #[default]
    AtMostOnce = 0,
    /// QoS 1.
    AtLeastOnce = 1,
    /// QoS 2.
    ExactlyOnce = 2,
}

impl QoS {
    /// The level of the two low bits; `None` of 3, which is reserved.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match bits & 0b11 {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }
}

impl TryFrom<u8> for QoS {
    /// The number that is no level.
    type Error = u8;
    fn try_from(value: u8) -> Result<Self, u8> {
        if value > 2 { Err(value) } else { Self::from_bits(value).ok_or(value) }
    }
}

impl From<QoS> for u8 {
    fn from(qos: QoS) -> Self {
        qos as Self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_zero_one_and_two() {
        assert_eq!(QoS::try_from(2), Ok(QoS::ExactlyOnce));
        assert_eq!(QoS::try_from(3), Err(3));
        assert_eq!(QoS::try_from(4), Err(4));
        assert!(QoS::AtMostOnce < QoS::AtLeastOnce && QoS::AtLeastOnce < QoS::ExactlyOnce);
    }
}
