//! Many requests while endpoints come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::backend::Backend;
use crate::client::Client;
use crate::world::{World, until};

const CLIENTS: usize = 16;
const REQUESTS_MIN: usize = 2000;
const FLIPS: u8 = 8;

/// Pods go in turn: gate closed, drained, process killed and started anew at the same address, gate open, back in service.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_pods_are_replaced_one_after_another() {
    let mut world = World::new().await;
    let mut servers = Vec::new();
    for number in 1..=3 {
        servers.push(world.pod(number).await);
        world.until_answers(number).await;
    }
    let (sent, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (sent, stop, address) = (sent.clone(), stop.clone(), world.address());
            tokio::spawn(async move {
                let mut client = Client::to(address).await;
                while !stop.load(Ordering::Relaxed) {
                    let answer = client.get("/").await;
                    assert_eq!(answer.code, 200, "{answer:?}");
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for flip in 0..FLIPS {
        let number = flip % 3 + 1;
        world.gate(number, "False").await;
        world.until_released(number).await;
        let old = servers.remove(usize::from(number) - 1);
        until("no connection is left", async || old.state.connections() == 0).await;
        old.kill().await;
        servers.insert(usize::from(number) - 1, Backend::http(world.pod_ip(number)));
        world.gate(number, "True").await;
        world.until_protected(number).await;
        world.until_answers(number).await;
    }
    until("enough were sent", async || sent.load(Ordering::Relaxed) >= REQUESTS_MIN).await;
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    let totals = world.traffic().await["totals"].clone();
    assert_eq!(totals["failed"], 0, "{totals}");
    assert_eq!(totals["requests"], sent.load(Ordering::Relaxed));
}
