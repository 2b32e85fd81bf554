// dK = dS^T Q in the first half of the columns, dV = (M * P)^T dO in the second; one thread per element.

@group(0) @binding(1) var<storage, read> queries: array<Query>;
@group(0) @binding(2) var<storage, read> keys: array<Key>;
@group(0) @binding(3) var<storage, read> dropout: array<u32>;
@group(0) @binding(4) var<storage, read> p: array<f32>;
@group(0) @binding(5) var<storage, read> ds: array<f32>;
@group(0) @binding(6) var<storage, read> q: array<f32>;
@group(0) @binding(7) var<storage, read> d_out: array<f32>;
@group(0) @binding(8) var<storage, read_write> dkv: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let heads = whole(1u);
    let width = heads * whole(2u);
    let i = place(group, groups) * 64u + thread;
    if i >= whole(3u) * 2u * width {
        return;
    }
    let key = keys[i / (2u * width)];
    let is_value = i % (2u * width) >= width;
    let column = i % width;
    let head = column / whole(2u);
    var sum = 0.0;
    for (var row = key.first_query; row < key.first_query + key.n_queries; row++) {
        let weight = queries[row].weights + head * queries[row].n_keys + key.number;
        if is_value {
            let factor = dropout_factor(dropout[row * heads + head], key.number);
            sum += p[weight] * factor * d_out[row * width + column];
        } else {
            sum += ds[weight] * q[row * width + column];
        }
    }
    dkv[i] = sum;
}
