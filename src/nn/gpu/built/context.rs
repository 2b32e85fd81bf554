//! The opened GPU: its queue, its compiled shaders, its memory, and the errors that it reports.

use super::{
    super::{Adapter, NAME},
    adapter::{choose, wait},
    kernels::Kernel,
};
use crate::{Error, ErrorKind, Result};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

/// A GPU and what belongs to it. There is one per process, opened at its first use.
pub(super) struct Gpu {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) adapter: Adapter,
    pipelines: Mutex<HashMap<&'static str, wgpu::ComputePipeline>>,
    /// The first error since it was last looked at; wgpu reports most of them apart from the call that caused them.
    failure: Arc<Mutex<Option<wgpu::Error>>>,
}

impl Gpu {
    /// The process's GPU.
    pub(super) fn get() -> Result<&'static Self> {
        static GPU: OnceLock<std::result::Result<Gpu, String>> = OnceLock::new();
        let gpu = GPU.get_or_init(|| Self::open().map_err(|error| error.to_string()));
        gpu.as_ref().map_err(|message| Error::new(ErrorKind::Device, message))
    }

    fn open() -> Result<Self> {
        let (adapter, description) = choose()?;
        let wanted = wgpu::DeviceDescriptor { required_limits: adapter.limits(), ..Default::default() };
        let (device, queue) = wait(adapter.request_device(&wanted)).map_err(|e| {
            Error::new(ErrorKind::Device, format!("{NAME}: {} cannot be opened: {e}; use cpu", description.name))
        })?;
        let failure = Arc::new(Mutex::new(None));
        let seen = Arc::clone(&failure);
        device.on_uncaptured_error(Arc::new(move |error| {
            seen.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }));
        Ok(Self { device, queue, adapter: description, pipelines: Mutex::default(), failure })
    }

    /// The compiled shader.
    pub(super) fn pipeline(&self, kernel: &Kernel) -> wgpu::ComputePipeline {
        let mut pipelines = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
        let compile = || {
            let module = self.device.create_shader_module(wgpu::ShaderModuleDescriptor {
                label: Some(kernel.name),
                source: wgpu::ShaderSource::Wgsl(kernel.source().into()),
            });
            self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(kernel.name),
                layout: None,
                module: &module,
                entry_point: Some("main"),
                compilation_options: wgpu::PipelineCompilationOptions::default(),
                cache: None,
            })
        };
        pipelines.entry(kernel.name).or_insert_with(compile).clone()
    }

    /// A new array of `bytes` bytes.
    pub(super) fn allocate(&self, bytes: usize, usage: wgpu::BufferUsages) -> Result<wgpu::Buffer> {
        self.create(bytes, usage, false)
    }

    /// An array that holds `content`.
    pub(super) fn upload(&self, content: &[u8], usage: wgpu::BufferUsages) -> Result<wgpu::Buffer> {
        let buffer = self.create(content.len(), usage, true)?;
        match buffer.slice(..).get_mapped_range_mut() {
            Ok(mut mapped) => mapped.copy_from_slice(content),
            Err(error) => return Err(self.error().unwrap_or_else(|| failed(error))),
        }
        buffer.unmap();
        Ok(buffer)
    }

    fn create(&self, bytes: usize, usage: wgpu::BufferUsages, mapped_at_creation: bool) -> Result<wgpu::Buffer> {
        // An array that no shader is given, such as the one that results are read from, may be larger.
        let largest = match usage.contains(wgpu::BufferUsages::STORAGE) {
            true => self.adapter.largest_array,
            false => self.device.limits().max_buffer_size,
        };
        // An empty array cannot be bound to a shader.
        let size = bytes.next_multiple_of(4).max(4) as u64;
        if size > largest {
            return Err(out_of_memory(&format!(
                "an array of {} MB, where {} takes {} MB at most",
                size.div_ceil(1_000_000),
                self.adapter.name,
                largest / 1_000_000
            )));
        }
        let buffer =
            self.device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation });
        match self.error() {
            None => Ok(buffer),
            Some(error) => Err(error),
        }
    }

    /// The error that was reported since this was last asked, if any.
    pub(super) fn error(&self) -> Option<Error> {
        let error = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some(match error {
            wgpu::Error::OutOfMemory { .. } => out_of_memory(&format!("{} has no memory left", self.adapter.name)),
            other => failed(other),
        })
    }
}

fn out_of_memory(what: &str) -> Error {
    Error::new(ErrorKind::OutOfMemory, format!("{NAME}: out of device memory: {what}"))
}

/// What wgpu reported, in one line.
pub(super) fn failed(error: impl std::fmt::Display) -> Error {
    let text = error.to_string();
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    Error::new(ErrorKind::Device, format!("{NAME}: the device reported: {line}"))
}
