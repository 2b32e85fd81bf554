// O = (M * P) V; one thread per element.

@group(0) @binding(1) var<storage, read> queries: array<Query>;
@group(0) @binding(2) var<storage, read> dropout: array<u32>;
@group(0) @binding(3) var<storage, read> p: array<f32>;
@group(0) @binding(4) var<storage, read> kv: array<f32>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let heads = whole(1u);
    let width = heads * whole(2u);
    let i = place(group, groups) * 64u + thread;
    if i >= whole(0u) * width {
        return;
    }
    let row = i / width;
    let column = i % width;
    let head = column / whole(2u);
    let query = queries[row];
    let weights = query.weights + head * query.n_keys;
    var sum = 0.0;
    for (var j = 0u; j < query.n_keys; j++) {
        let factor = dropout_factor(dropout[row * heads + head], j);
        sum += p[weights + j] * factor * kv[(query.first_key + j) * 2u * width + width + column];
    }
    out[i] = sum;
}
