//! The native twin of the browser's tests: the same secret, the same noise.
#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used)]

#[path = "common/seeded.rs"]
mod seeded;

#[tokio::test]
async fn a_fixed_secret_gives_the_same_noise_as_in_the_browser() {
    let seen = seeded::seen().await;
    seeded::assert_partly_changed(&seen);
    assert_eq!(
        seen,
        seeded::EXPECTED_SEEN,
        "EXPECTED_SEEN in tests/common/seeded.rs would be {seen:#?}"
    );
}

#[tokio::test]
async fn the_same_secret_releases_the_same_again() {
    assert_eq!(seeded::seen().await, seeded::seen().await);
}

#[test]
fn the_bottom_has_the_cut_of_the_tests() {
    let bottom = seeded::bottom(&burn::tensor::Device::flex());
    assert_eq!(bottom.cut().index(), seeded::CUT);
}
