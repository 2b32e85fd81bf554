// P = softmax(Q K^T / sqrt(w)) by row; one workgroup per query and head.

@group(0) @binding(1) var<storage, read> queries: array<Query>;
@group(0) @binding(2) var<storage, read> q: array<f32>;
@group(0) @binding(3) var<storage, read> kv: array<f32>;
@group(0) @binding(4) var<storage, read_write> p: array<f32>;

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
    let is_there = number < whole(0u) * heads;
    let row = min(number / heads, whole(0u) - 1u);
    let head = number % heads;
    let query = queries[row];
    let n_keys = select(0u, query.n_keys, is_there);
    let weights = query.weights + head * query.n_keys;
    var top = -3.4e38;
    for (var j = thread; j < n_keys; j += 64u) {
        let key = (query.first_key + j) * 2u * width + head * w;
        var dot = 0.0;
        for (var d = 0u; d < w; d++) {
            dot += q[row * width + head * w + d] * kv[key + d];
        }
        p[weights + j] = dot * real(4u);
        top = max(top, dot * real(4u));
    }
    top = max_of_group(thread, top);
    var sum = 0.0;
    for (var j = thread; j < n_keys; j += 64u) {
        let e = exp_of(p[weights + j] - top);
        p[weights + j] = e;
        sum += e;
    }
    sum = sum_of_group(thread, sum);
    for (var j = thread; j < n_keys; j += 64u) {
        p[weights + j] /= sum;
    }
}
