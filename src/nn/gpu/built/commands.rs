//! Arrays in the GPU's memory, and the commands that work on them: recorded one after the other, and sent when a result
//! is read.

use super::{
    context::failed,
    kernels::{ADD, Kernel},
    session::Session,
};
use crate::Result;
use wgpu::{Buffer, BufferUsages};

/// What an array is used for.
const ARRAY: BufferUsages = BufferUsages::STORAGE.union(BufferUsages::COPY_SRC).union(BufferUsages::COPY_DST);
/// Numbers that a shader gets beside its arrays; as many as the header of the shaders declares.
const NUMBERS: usize = 12;
/// Most workgroups in one dimension of a dispatch: the limit of WebGPU, which every device keeps.
const MOST_GROUPS: usize = 65_535;

impl Session {
    /// An array with these values.
    pub(super) fn upload<V: Number>(&mut self, values: &[V]) -> Result<Buffer> {
        self.gpu.upload(bytes(values), ARRAY)
    }

    /// An array of `len` numbers; zeros, as wgpu clears what a program has not written.
    pub(super) fn array(&mut self, len: usize) -> Result<Buffer> {
        self.gpu.allocate(len * size_of::<f32>(), ARRAY)
    }

    /// `sum += x[from..]`, as many elements as `len`.
    pub(super) fn add(&mut self, sum: &Buffer, x: &Buffer, from: usize, len: usize) -> Result<()> {
        self.run(&ADD, &[len as u32, from as u32], &[x, sum], spread(len, 256))
    }

    /// Records one run of a shader: its numbers, its arrays in the order of their bindings, its workgroups.
    pub(super) fn run(&mut self, kernel: &Kernel, numbers: &[u32], arrays: &[&Buffer], groups: [u32; 3]) -> Result<()> {
        let mut all = [0; NUMBERS];
        all[..numbers.len()].copy_from_slice(numbers);
        let numbers = self.gpu.upload(bytes(&all), BufferUsages::UNIFORM)?;
        let pipeline = self.gpu.pipeline(kernel);
        let entries: Vec<_> = std::iter::once(&numbers)
            .chain(arrays.iter().copied())
            .zip(0..)
            .map(|(buffer, binding)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() })
            .collect();
        let bindings = self.gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(kernel.name),
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        });
        let mut pass = self.encoder().begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &bindings, &[]);
        let [x, y, z] = groups;
        pass.dispatch_workgroups(x, y, z);
        Ok(())
    }

    fn encoder(&mut self) -> &mut wgpu::CommandEncoder {
        let device = &self.gpu.device;
        self.encoder.get_or_insert_with(|| device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default()))
    }

    /// Sends what was recorded and gives the first `len` numbers of an array.
    pub(super) fn read(&mut self, buffer: &Buffer, len: usize) -> Result<Vec<f32>> {
        Ok(self.read_all(&[(buffer, len)])?.remove(0))
    }

    /// The same for several arrays, which wait for the device once.
    pub(super) fn read_all(&mut self, arrays: &[(&Buffer, usize)]) -> Result<Vec<Vec<f32>>> {
        let total: usize = arrays.iter().map(|(_, len)| len).sum();
        let gpu = self.gpu;
        let usage = BufferUsages::MAP_READ.union(BufferUsages::COPY_DST);
        let staging = gpu.allocate(total * size_of::<f32>(), usage)?;
        let mut at = 0;
        for (buffer, len) in arrays.iter().filter(|(_, len)| *len > 0) {
            let size = (len * size_of::<f32>()) as u64;
            self.encoder().copy_buffer_to_buffer(buffer, 0, &staging, at, size);
            at += size;
        }
        gpu.queue.submit(self.encoder.take().map(wgpu::CommandEncoder::finish));
        staging.slice(..).map_async(wgpu::MapMode::Read, |_| {});
        gpu.device.poll(wgpu::PollType::wait_indefinitely()).map_err(failed)?;
        if let Some(error) = gpu.error() {
            return Err(error);
        }
        let mapped = staging.slice(..).get_mapped_range().map_err(failed)?;
        let (words, _) = mapped.as_chunks::<4>();
        let mut words = words.iter().map(|&word| f32::from_ne_bytes(word));
        Ok(arrays.iter().map(|&(_, len)| words.by_ref().take(len).collect()).collect())
    }
}

/// Workgroups for `items` items, `per_group` each; more than one dimension holds are spread over two.
pub(super) fn spread(items: usize, per_group: usize) -> [u32; 3] {
    let groups = items.div_ceil(per_group);
    let rows = groups.div_ceil(MOST_GROUPS).max(1);
    [groups.div_ceil(rows) as u32, rows as u32, 1]
}

/// A number of 4 bytes, all of whose bits mean something.
pub(super) trait Number: Copy {}
impl Number for f32 {}
impl Number for u32 {}
impl<const N: usize> Number for [u32; N] {}

fn bytes<V: Number>(values: &[V]) -> &[u8] {
    // SAFETY: a `Number` is made of 4-byte words without padding, every bit pattern of which is a valid `u8`, and the
    // slice of bytes covers exactly the memory that `values` borrows.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}
