// dQ = dS K; one thread per element.

@group(0) @binding(1) var<storage, read> queries: array<Query>;
@group(0) @binding(2) var<storage, read> ds: array<f32>;
@group(0) @binding(3) var<storage, read> kv: array<f32>;
@group(0) @binding(4) var<storage, read_write> dq: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let width = whole(1u) * whole(2u);
    let i = place(group, groups) * 64u + thread;
    if i >= whole(0u) * width {
        return;
    }
    let column = i % width;
    let query = queries[i / width];
    let weights = query.weights + column / whole(2u) * query.n_keys;
    var sum = 0.0;
    for (var j = 0u; j < query.n_keys; j++) {
        sum += ds[weights + j] * kv[(query.first_key + j) * 2u * width + column];
    }
    dq[i] = sum;
}
