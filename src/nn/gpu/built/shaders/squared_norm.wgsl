// The sum of squares of x as one partial sum per workgroup; the host adds those in f64. Thread t of all n takes the
// elements t, t + n, t + 2n, …

@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> partial: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let threads = groups.x * 64u;
    var sum = 0.0;
    for (var i = group.x * 64u + thread; i < whole(0u); i += threads) {
        sum += x[i] * x[i];
    }
    sum = sum_of_group(thread, sum);
    if thread == 0u {
        partial[whole(1u) + group.x] = sum;
    }
}
