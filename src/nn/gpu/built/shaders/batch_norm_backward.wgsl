// dx = weight scale (dy - (sum dy + h sum dy h) / rows).

@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> moments: array<f32>;
@group(0) @binding(3) var<storage, read> weight: array<f32>;
@group(0) @binding(4) var<storage, read> dy: array<f32>;
@group(0) @binding(5) var<storage, read> sums: array<f32>;
@group(0) @binding(6) var<storage, read_write> dx: array<f32>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let rows = whole(0u);
    let width = whole(1u);
    let i = place(group, groups) * 256u + thread;
    if i >= rows * width {
        return;
    }
    let j = i % width;
    let scale = 1.0 / sqrt(moments[width + j] + real(2u));
    let h = (x[i] - moments[j]) * scale;
    dx[i] = weight[j] * scale * (dy[i] - (sums[width + j] + h * sums[j]) / f32(rows));
}
