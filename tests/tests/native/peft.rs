//! Exported adapters in the hands of Python's `peft`, and back in ours.

use std::path::Path;
use std::process::Command;

use burn::tensor::Device;
use safetensors::tensor::{Dtype, TensorView};
use server::trainer::step::logits;
use shared::adapter::{Adapter, ParameterName, peft};
use tests::assets;
use tests::reference::{Reference, numbers};

const FAMILIES: [&str; 3] = ["bert-shaped", "roberta-shaped", "distilbert-shaped"];

fn shaped(name: &str) -> Reference {
    Reference::open(name, None, Device::flex())
}

/// The adapter of a session with this cut: nothing below it.
fn above(reference: &Reference, cut: usize) -> Adapter {
    let adapter = reference.adapter();
    let parameters = adapter.names().zip(adapter.parameters().iter().cloned());
    let parameters = parameters.filter(|(name, _)| match name {
        ParameterName::LoraA { layer, .. } | ParameterName::LoraB { layer, .. } => *layer >= cut,
        _ => true,
    });
    Adapter::from_parameters(adapter.config(), parameters)
}

/// Our scores of the reference's batch by the unsplit model.
fn whole_logits(reference: &Reference, adapter: &Adapter) -> Vec<f32> {
    let activations = reference.activations(&reference.bottom(0), &reference.batch());
    numbers(logits(&reference.top(0), adapter, &activations))
}

fn write_logits(path: &Path, values: &[f32], n_classes: usize) {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let shape = vec![values.len() / n_classes, n_classes];
    let view = TensorView::new(Dtype::F32, shape, &bytes).unwrap();
    let file = safetensors::serialize([("logits", view)], None).unwrap();
    std::fs::write(path, file).unwrap();
}

/// Holds that `peft` loads the exported adapter and computes our scores from it.
fn peft_computes_the_same(name: &str, reference: &Reference, adapter: &Adapter) {
    let directory = tempfile::tempdir().unwrap();
    let exported = directory.path().join("adapter");
    std::fs::create_dir(&exported).unwrap();
    let files = peft::write(adapter, &reference.config).unwrap();
    std::fs::write(exported.join("adapter_config.json"), files.config).unwrap();
    std::fs::write(exported.join("adapter_model.safetensors"), files.tensors).unwrap();
    let ours = directory.path().join("logits.safetensors");
    let scores = whole_logits(reference, adapter);
    write_logits(&ours, &scores, reference.n_classes());

    let python = std::env::var("CUTLAYER_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let fixture = assets::reference(name);
    let output = Command::new(python)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(assets::repository().join("tests/fixtures/check_peft.py"))
        .args([fixture.join("model"), exported])
        .args([fixture.join("batch.safetensors"), ours])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{name}: {said}{errors}");
    eprintln!("{name}: {}", said.trim());
    // What the script compared was not nothing.
    let line: serde_json::Value = serde_json::from_str(said.trim()).unwrap();
    assert!(line["max_abs_logit"].as_f64().unwrap() > 1e-3, "{line}");
}

#[test]
#[ignore = "needs torch"]
fn peft_computes_our_logits_needs_torch() {
    for name in FAMILIES {
        let reference = shaped(name);
        peft_computes_the_same(name, &reference, &reference.adapter());
    }
}

#[test]
#[ignore = "needs torch"]
fn peft_computes_our_logits_of_an_adapter_above_a_cut_needs_torch() {
    for name in FAMILIES {
        let reference = shaped(name);
        let adapter = above(&reference, 1);
        // Otherwise nothing would tell whether peft put factors below the cut.
        assert_ne!(
            whole_logits(&reference, &adapter),
            whole_logits(&reference, &reference.adapter())
        );
        peft_computes_the_same(name, &reference, &adapter);
    }
}

#[test]
fn an_adapter_comes_back_from_its_files_bit_for_bit() {
    for name in FAMILIES {
        let reference = shaped(name);
        for cut in 0..reference.config.n_layers {
            let adapter = above(&reference, cut);
            let files = peft::write(&adapter, &reference.config).unwrap();
            let back = peft::read(
                &files,
                &reference.config,
                &reference.top(cut),
                reference.n_classes(),
                &Device::flex(),
            )
            .unwrap();
            assert_eq!(back.config(), adapter.config());
            let names: Vec<_> = adapter.names().collect();
            assert_eq!(back.names().collect::<Vec<_>>(), names);
            let pairs = adapter.parameters().iter().zip(back.parameters());
            for (parameter, (ours, back)) in names.iter().zip(pairs) {
                assert_eq!(ours.dims(), back.dims(), "{name}: {parameter:?}");
                let bits = |tensor: &burn::tensor::Tensor<2>| -> Vec<u32> {
                    let values = numbers(tensor.clone());
                    values.into_iter().map(f32::to_bits).collect()
                };
                assert_eq!(bits(ours), bits(back), "{name}: {parameter:?}");
            }
        }
    }
}
