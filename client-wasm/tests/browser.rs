//! The client as wasm in a worker of headless Chromium: its noise, its GPU, its socket, its errors.
//!
//! The JavaScript class `Client` cannot be named from here (its module is private); tests/tests/browser drives it
//! through the page. What it rejects with is [`ClientError::name`], which is held here.
#![cfg(target_arch = "wasm32")]
#![allow(clippy::unwrap_used)]

#[path = "common/seeded.rs"]
mod seeded;

use burn::tensor::Device;
use client_wasm::client::Client;
use client_wasm::device;
use client_wasm::error::ClientError;
use client_wasm::options::{ConnectOptions, DeviceChoice};
use client_wasm::release::ReleaseKey;
use client_wasm::server::Server;
use client_wasm::transport::browser::BrowserTransport;
use futures_util::future::{Either, select};
use js_sys::{Function, Promise, Reflect};
use shared::model::{BottomModel, TokenBatch};
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::JsFuture;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_dedicated_worker);

/// A port below 1024 that nobody serves and no browser refuses by itself.
const NOBODY: &str = "http://127.0.0.1:2";

/// Longest wait for something that should fail at once.
const WAIT_MILLIS: i32 = 20_000;

#[wasm_bindgen_test]
async fn a_fixed_secret_gives_the_same_noise_as_natively() {
    let seen = seeded::seen().await;
    seeded::assert_partly_changed(&seen);
    assert_eq!(seen, seeded::EXPECTED_SEEN);
}

/// Chromium is started with a software GPU (webdriver.json): without WebGPU this fails.
#[wasm_bindgen_test]
async fn webgpu_computes_what_the_processor_computes() {
    let bottom = seeded::bottom(&Device::flex());
    let bytes = 4 * bottom.config().vocab_size as u64 * bottom.config().d_model as u64;
    let gpu = device::open(DeviceChoice::Gpu, bytes).await.unwrap();
    assert_eq!(gpu.kind, "webgpu");
    let expected = activations(&bottom).await;
    let actual = activations(&seeded::bottom(&gpu.device)).await;
    assert_eq!(actual.len(), expected.len());
    assert!(actual.iter().all(|value| value.is_finite()));
    let scale = expected.iter().fold(0.0f32, |max, v| max.max(v.abs()));
    let pairs = actual.iter().zip(&expected);
    let largest = pairs.fold(0.0f32, |max, (a, b)| max.max((a - b).abs()));
    assert!(
        scale > 0.0 && largest / scale < 1e-4,
        "{largest} of {scale}"
    );
}

/// Activations of two examples of different lengths, so that padding is part of it.
async fn activations(bottom: &BottomModel) -> Vec<f32> {
    let long: Vec<u32> = (5..21).collect();
    let short: [u32; 3] = [2, 90, 3];
    let examples: [(&[u32], &[u8]); 2] = [(&long, &[]), (&short, &[])];
    let batch = TokenBatch::new(&examples, bottom.config()).unwrap();
    let activations = bottom.activations(&batch).await.unwrap();
    assert_eq!(activations.seq_lengths(), [16, 3]);
    activations.values().to_vec()
}

#[wasm_bindgen_test]
async fn a_processor_is_there_without_being_announced() {
    let cpu = device::open(DeviceChoice::Cpu, 0).await.unwrap();
    assert_eq!((cpu.kind, cpu.notice), ("cpu", None));
}

#[wasm_bindgen_test]
async fn a_closed_port_is_a_lost_connection_and_no_wait() {
    let connected = in_time(BrowserTransport::connect(&Server::from(NOBODY))).await;
    assert!(matches!(
        connected.err(),
        Some(ClientError::Disconnected { .. })
    ));
}

#[wasm_bindgen_test]
async fn an_address_that_is_none_is_a_lost_connection() {
    let connected = in_time(BrowserTransport::connect(&Server::from("http://no host"))).await;
    assert!(matches!(
        connected.err(),
        Some(ClientError::Disconnected { .. })
    ));
}

#[wasm_bindgen_test]
async fn a_server_that_is_not_there_offers_nothing() {
    let key = ReleaseKey::from_system().unwrap();
    let options = ConnectOptions::default();
    let connected = Client::<BrowserTransport>::connect(NOBODY, &options, key, |_| {});
    let error = in_time(connected).await.err().unwrap();
    assert_eq!(error.name(), "Fetch");
}

/// The result of a future that ends in time.
async fn in_time<V>(future: impl Future<Output = V>) -> V {
    let timer = Promise::new(&mut |resolve, _| {
        let global = js_sys::global();
        let set = Reflect::get(&global, &"setTimeout".into()).unwrap();
        let set: Function = set.dyn_into().unwrap();
        set.call2(&global, &resolve, &WAIT_MILLIS.into()).unwrap();
    });
    let timer = Box::pin(JsFuture::from(timer));
    match select(Box::pin(future), timer).await {
        Either::Left((value, _)) => value,
        Either::Right(_) => panic!("still waiting after {WAIT_MILLIS} ms"),
    }
}
