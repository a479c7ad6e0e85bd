//! What operators ask of a running broker, on a thread of its own that no shard waits for. So far the control socket of
//! `myriadctl`.

mod control;
mod request;

pub use control::{ControlError, ControlSocket};
