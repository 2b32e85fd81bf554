// y = (x - mean) / sqrt(variance + epsilon) * weight + bias, moments over the row; one workgroup per row. Mean and
// 1 / sqrt(variance + epsilon) of each row are kept for the backward pass.

@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
@group(0) @binding(5) var<storage, read_write> moments: array<vec2<f32>>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let rows = whole(0u);
    let width = whole(1u);
    let row = place(group, groups);
    // A workgroup beyond the last row does that row again: no thread may leave before a barrier.
    let start = min(row, rows - 1u) * width;
    var sum = 0.0;
    for (var j = thread; j < width; j += 64u) {
        sum += x[start + j];
    }
    let mean = sum_of_group(thread, sum) / f32(width);
    sum = 0.0;
    for (var j = thread; j < width; j += 64u) {
        let centred = x[start + j] - mean;
        sum += centred * centred;
    }
    let scale = 1.0 / sqrt(sum_of_group(thread, sum) / f32(width) + real(2u));
    if row >= rows {
        return;
    }
    for (var j = thread; j < width; j += 64u) {
        y[start + j] = (x[start + j] - mean) * scale * weight[j] + bias[j];
    }
    if thread == 0u {
        moments[row] = vec2<f32>(mean, scale);
    }
}
