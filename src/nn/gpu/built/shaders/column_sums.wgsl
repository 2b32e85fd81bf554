// sums[j] += sum over rows of x[row, j]; one thread per column, from the first row to the last.

@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> sums: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let rows = whole(0u);
    let width = whole(1u);
    let column = place(group, groups) * 64u + thread;
    if column >= width {
        return;
    }
    var sum = 0.0;
    for (var row = 0u; row < rows; row++) {
        sum += x[row * width + column];
    }
    sums[column] += sum;
}
