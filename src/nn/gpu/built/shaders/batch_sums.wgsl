// The gradients of weight and bias: sums[j] = sum dy h and sums[width + j] = sum dy. One thread per column.

@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> moments: array<f32>;
@group(0) @binding(3) var<storage, read> dy: array<f32>;
@group(0) @binding(4) var<storage, read_write> sums: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let rows = whole(0u);
    let width = whole(1u);
    let j = place(group, groups) * 64u + thread;
    if j >= width {
        return;
    }
    let scale = 1.0 / sqrt(moments[width + j] + real(2u));
    var with_h = 0.0;
    var alone = 0.0;
    for (var row = 0u; row < rows; row++) {
        let d = dy[row * width + j];
        with_h += d * (x[row * width + j] - moments[j]) * scale;
        alone += d;
    }
    sums[j] = with_h;
    sums[width + j] = alone;
}
