// One update of a weight and its moments; leaves the gradient at zero. The notation of `optim.rs`.

@group(0) @binding(1) var<storage, read_write> w: array<f32>;
@group(0) @binding(2) var<storage, read_write> g: array<f32>;
@group(0) @binding(3) var<storage, read_write> m: array<f32>;
@group(0) @binding(4) var<storage, read_write> v: array<f32>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let clip = real(1u);
    let l2 = real(2u);
    let shrink = real(3u);
    let take1 = real(4u);
    let beta2 = real(5u);
    let take2 = real(6u);
    let epsilon = real(7u);
    let step_size = real(8u);
    let scale = real(9u);
    let i = place(group, groups) * 256u + thread;
    if i >= whole(0u) {
        return;
    }
    let gradient = g[i] * clip + w[i] * l2;
    g[i] = 0.0;
    m[i] += (gradient - m[i]) * take1;
    v[i] = v[i] * beta2 + gradient * gradient * take2;
    w[i] = w[i] * shrink - step_size * (m[i] / (sqrt(v[i]) * scale + epsilon));
}
