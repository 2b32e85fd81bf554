//! Which GPUs there are, and which is taken: a discrete one before an integrated one before any other, the first of
//! several; a program that stands in for a GPU only where there is nothing else.

use super::super::{Adapter, NAME};
use crate::{Error, ErrorKind, Result};
use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

const BACKENDS: wgpu::Backends = if cfg!(target_os = "macos") { wgpu::Backends::METAL } else { wgpu::Backends::VULKAN };

/// Every adapter, the one that is taken first.
///
/// # Errors
/// None there; the message says what to install.
pub fn adapters() -> Result<Vec<Adapter>> {
    let found = find();
    match found.is_empty() {
        true => Err(no_adapter()),
        false => Ok(found.iter().map(describe).collect()),
    }
}

/// The adapter that is taken, with its description.
pub(super) fn choose() -> Result<(wgpu::Adapter, Adapter)> {
    let adapter = find().into_iter().next().ok_or_else(no_adapter)?;
    let description = describe(&adapter);
    Ok((adapter, description))
}

fn find() -> Vec<wgpu::Adapter> {
    let mut wanted = wgpu::InstanceDescriptor::new_without_display_handle();
    wanted.backends = BACKENDS;
    let mut found = wait(wgpu::Instance::new(wanted).enumerate_adapters(BACKENDS));
    found.sort_by_key(|adapter| match adapter.get_info().device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    });
    found
}

fn describe(adapter: &wgpu::Adapter) -> Adapter {
    let info = adapter.get_info();
    let limits = adapter.limits();
    let driver = [info.driver.as_str(), info.driver_info.as_str()];
    let driver = driver.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(", ");
    Adapter {
        name: info.name,
        driver: if driver.is_empty() { NAME.to_owned() } else { driver },
        is_software: info.device_type == wgpu::DeviceType::Cpu,
        largest_array: limits.max_buffer_size.min(limits.max_storage_buffer_binding_size),
    }
}

fn no_adapter() -> Error {
    let hint = match cfg!(target_os = "macos") {
        true => "",
        false => " (drivers: Debian's mesa-vulkan-drivers, or the GPU vendor's; `vulkaninfo` shows what is found)",
    };
    Error::new(ErrorKind::Device, format!("{NAME}: no GPU is visible to this process{hint}; use cpu"))
}

/// The result of a future of wgpu, which on a desktop is there at once or after a moment.
pub(super) fn wait<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::yield_now(),
        }
    }
}
