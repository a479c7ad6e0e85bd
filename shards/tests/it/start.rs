//! Starting: each failure is one line that names the thing and the mend.

use std::net::TcpListener;

use shards::{Config, Listener, Shards, StartError, probe};

use crate::echo::Echo;
use crate::script::*;

fn refused(config: Config) -> StartError {
    let result = Shards::start(config, |_, _: &mut Port<'_, Echo>| Run(Echo));
    match result {
        Ok(shards) => {
            stop(shards);
            panic!("started");
        }
        Err(error) => {
            assert!(!error.to_string().contains('\n'));
            error
        }
    }
}

fn at(address: &str) -> Config {
    Config { listeners: vec![Listener::at(address.parse::<std::net::SocketAddr>().unwrap())], ..config(2) }
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = refused(at(&address.to_string()));
    assert!(matches!(error, StartError::InUse(ref named) if *named == address.into()), "{error}");
}

#[test]
fn the_port_of_other_shards_is_in_use_too() {
    let shards = start(config(2), |_| Echo);
    let address = shards.addresses()[0];
    let error = refused(at(&address.to_string()));
    assert!(matches!(error, StartError::InUse(ref named) if *named == address.into()), "{error}");
    stop(shards);
    // And free again afterwards.
    stop(start(at(&address.to_string()), |_| Echo));
}

#[test]
fn an_address_of_another_machine_is_named() {
    let error = refused(at("192.0.2.1:1883"));
    assert!(matches!(error, StartError::NotAvailable(_)), "{error}");
}

#[test]
fn no_shards_and_no_such_cpu() {
    assert!(matches!(refused(config(0)), StartError::NoShards));
    let error = refused(Config { pin: true, cpus: vec![99_999], ..config(1) });
    assert!(matches!(error, StartError::Thread(_)), "{error}");
}

#[test]
fn too_few_descriptors_are_counted() {
    let error = refused(Config { ring_slots_max: Some(1), connections_max: 1_000_000, ..config(2) });
    assert!(matches!(error, StartError::Descriptors { .. }), "{error}");
}

#[test]
fn check_says_what_fits() {
    let capacity = probe::check(&Config { connections_max: 1_000_000, ..config(2) }).unwrap();
    let per_shard = capacity.connections_per_shard;
    assert!(per_shard >= 500_000 + 500_000 / 16 + 1024, "{capacity:?}");
    assert!(u64::from(capacity.rings_per_shard) * capacity.descriptors_max >= per_shard, "{capacity:?}");
}

#[test]
fn pinned_shards_run() {
    stop(start(Config { pin: true, ..config(2) }, |_| Echo));
}
