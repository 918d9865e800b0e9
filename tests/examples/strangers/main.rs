//! The daemon among strangers, for as long as is asked and on loopback only. `cargo xtask` runs it
//! and writes down what it prints.
//!
//! | command | what |
//! |---|---|
//! | `strangers websockets` | [`websockets`]: what Autobahn\|Testsuite is held against |
//! | `strangers hostile` | [`hostile`]: what each attack costs |
//! | `strangers soak SECONDS` | [`soak`]: hours of mixed traffic |
#![allow(clippy::print_stdout, reason = "what it prints is its output")]

mod hostile;
mod soak;
mod websockets;

use anyhow::{Context, bail};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut words = std::env::args().skip(1);
    match words.next().as_deref() {
        Some("websockets") => websockets::run().await,
        Some("hostile") => hostile::run().await,
        Some("soak") => {
            let seconds = words.next().context("strangers soak SECONDS")?;
            soak::run(seconds.parse().context("strangers soak SECONDS")?).await
        }
        _ => bail!("strangers websockets | hostile | soak SECONDS"),
    }
}
