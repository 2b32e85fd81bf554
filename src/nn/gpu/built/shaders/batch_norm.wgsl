// y = (x - mean) / sqrt(variance + epsilon) * weight + bias by column.

@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> moments: array<f32>;
@group(0) @binding(3) var<storage, read> weight: array<f32>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let width = whole(1u);
    let i = place(group, groups) * 256u + thread;
    if i >= whole(0u) * width {
        return;
    }
    let j = i % width;
    y[i] = (x[i] - moments[j]) / sqrt(moments[width + j] + real(2u)) * weight[j] + bias[j];
}
