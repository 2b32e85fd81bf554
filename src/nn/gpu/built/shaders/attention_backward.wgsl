// dS = P * (M * dO V^T - delta) / sqrt(w), delta = dO . O; one workgroup per query and head.

@group(0) @binding(1) var<storage, read> queries: array<Query>;
@group(0) @binding(2) var<storage, read> dropout: array<u32>;
@group(0) @binding(3) var<storage, read> p: array<f32>;
@group(0) @binding(4) var<storage, read> kv: array<f32>;
@group(0) @binding(5) var<storage, read> out: array<f32>;
@group(0) @binding(6) var<storage, read> d_out: array<f32>;
@group(0) @binding(7) var<storage, read_write> ds: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let heads = whole(1u);
    let w = whole(2u);
    let width = heads * w;
    let number = place(group, groups);
    if number >= whole(0u) * heads {
        return;
    }
    let row = number / heads;
    let head = number % heads;
    let query = queries[row];
    let weights = query.weights + head * query.n_keys;
    let at = row * width + head * w;
    var delta = 0.0;
    for (var d = 0u; d < w; d++) {
        delta += d_out[at + d] * out[at + d];
    }
    for (var j = thread; j < query.n_keys; j += 64u) {
        let value = (query.first_key + j) * 2u * width + width + head * w;
        var dot = 0.0;
        for (var d = 0u; d < w; d++) {
            dot += d_out[at + d] * kv[value + d];
        }
        let factor = dropout_factor(dropout[row * heads + head], j);
        ds[weights + j] = p[weights + j] * (dot * factor - delta) * real(4u);
    }
}
