//! What computes at the client: WebGPU, or the CPU with a visible notice.

use burn::tensor::Device;

use crate::error::ClientError;
use crate::options::DeviceChoice;

/// A device, and what to tell the person about it.
#[derive(Debug, Clone)]
pub struct OpenDevice {
    /// Where tensors are created.
    pub device: Device,
    /// `webgpu` or `cpu`.
    pub kind: &'static str,
    /// For people.
    pub name: String,
    /// Why it is not a GPU, where one was hoped for.
    pub notice: Option<String>,
}

/// Opens a device that can read a tensor of `largest_tensor_bytes`. In a browser it can be opened
/// once.
///
/// # Errors
///
/// When a GPU was asked for and none can be used.
pub async fn open(
    choice: DeviceChoice,
    largest_tensor_bytes: u64,
) -> Result<OpenDevice, ClientError> {
    if choice == DeviceChoice::Cpu {
        return Ok(cpu(None));
    }
    match gpu(largest_tensor_bytes).await {
        Ok(device) => Ok(device),
        Err(problem) if choice == DeviceChoice::Gpu => Err(ClientError::Option {
            name: "device",
            problem,
        }),
        Err(problem) => Ok(cpu(Some(format!(
            "{problem}, so the model runs on the processor: the same result, more slowly."
        )))),
    }
}

fn cpu(notice: Option<String>) -> OpenDevice {
    OpenDevice {
        device: Device::flex(),
        kind: "cpu",
        name: cpu_name().to_owned(),
        notice,
    }
}

#[cfg(target_arch = "wasm32")]
fn cpu_name() -> &'static str {
    "processor (WebAssembly SIMD)"
}

#[cfg(not(target_arch = "wasm32"))]
fn cpu_name() -> &'static str {
    "processor"
}

/// The browser's GPU, or why there is none.
#[cfg(target_arch = "wasm32")]
async fn gpu(largest_tensor_bytes: u64) -> Result<OpenDevice, String> {
    let Some(probe) = crate::browser::probe_gpu().await else {
        return Err("This browser offers no WebGPU".to_owned());
    };
    if largest_tensor_bytes as f64 > probe.binding_bytes_max {
        return Err("The model's word table is too large for this GPU".to_owned());
    }
    match Device::wgpu_options().init_async().await {
        Ok(device) => Ok(OpenDevice {
            device,
            kind: "webgpu",
            name: probe.name,
            notice: None,
        }),
        Err(_) => Err("The GPU could not be started".to_owned()),
    }
}

/// A native GPU, or why there is none. The bottom is small: without being asked for, the processor
/// does.
#[cfg(not(target_arch = "wasm32"))]
async fn gpu(_largest_tensor_bytes: u64) -> Result<OpenDevice, String> {
    match Device::wgpu_options().init_with_setup_async().await {
        Ok((device, setup)) => {
            let name = setup.adapter.get_info().name;
            Ok(OpenDevice {
                device,
                kind: "webgpu",
                name,
                notice: None,
            })
        }
        Err(_) => Err("No GPU that can be used was found".to_owned()),
    }
}
