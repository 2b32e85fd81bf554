// Mean and population variance of each column: moments[j] and moments[width + j]. One thread per column, two passes.

@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> moments: array<f32>;

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
    var sum = 0.0;
    for (var row = 0u; row < rows; row++) {
        sum += x[row * width + j];
    }
    let mean = sum / f32(rows);
    sum = 0.0;
    for (var row = 0u; row < rows; row++) {
        let centred = x[row * width + j] - mean;
        sum += centred * centred;
    }
    moments[j] = mean;
    moments[width + j] = sum / f32(rows);
}
