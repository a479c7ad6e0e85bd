//! What the fuzz targets check, one module a property; `targets/` binds them to libFuzzer.
//! A property that does not hold panics, which libFuzzer reports with the input.

pub mod acl;
pub mod broker;
pub mod codec;
pub mod credentials;
pub mod journal;
pub mod layers;
pub mod topics;
