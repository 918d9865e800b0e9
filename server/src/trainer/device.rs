//! Which device computes.

use burn::tensor::{Device, DeviceKind, Tensor};

use super::TrainerError;
use crate::args::DeviceChoice;

/// A device that has computed something.
#[derive(Debug)]
pub struct OpenDevice {
    /// Where tensors are created.
    pub device: Device,
    /// For people: `cpu` or the GPU adapter's name.
    pub name: String,
}

/// Opens the device that was asked for. `Auto` takes a hardware GPU where there is one, else the
/// CPU: a GPU emulated in software is slower than the CPU backend and is only taken when asked for.
///
/// # Errors
///
/// When a GPU was asked for and none can be used.
pub fn open(choice: DeviceChoice) -> Result<OpenDevice, TrainerError> {
    match choice {
        DeviceChoice::Cpu => Ok(cpu()),
        DeviceChoice::Gpu => gpu(&DeviceKind::DefaultDevice).ok_or(TrainerError::NoGpu),
        DeviceChoice::Auto => {
            let hardware = [DeviceKind::DiscreteGpu(0), DeviceKind::IntegratedGpu(0)];
            Ok(hardware.iter().find_map(gpu).unwrap_or_else(cpu))
        }
    }
}

fn cpu() -> OpenDevice {
    OpenDevice {
        device: Device::flex(),
        name: "cpu".to_owned(),
    }
}

/// A GPU is there when it has added two numbers. Initialisation without an adapter panics in wgpu;
/// that is the answer no.
fn gpu(kind: &DeviceKind) -> Option<OpenDevice> {
    let kind = kind.clone();
    let opened = std::panic::catch_unwind(move || {
        let options = Device::wgpu_options().device_kind(kind);
        let (device, setup) = options.init_with_setup().ok()?;
        let sum = Tensor::<1>::from_floats([1.0, 2.0], &device).sum();
        let sum = sum.into_data().try_into_vec::<f32>().ok()?;
        (sum == [3.0]).then(|| OpenDevice {
            device,
            name: setup.adapter.get_info().name,
        })
    });
    opened.ok().flatten()
}
