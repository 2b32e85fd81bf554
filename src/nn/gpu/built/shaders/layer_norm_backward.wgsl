// dx = (g - mean(g) - h mean(g h)) scale with g = weight dy; and dy h, whose column sums are the gradient of the weight.
// One workgroup per row.

@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> moments: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read> dy: array<f32>;
@group(0) @binding(5) var<storage, read_write> dx: array<f32>;
@group(0) @binding(6) var<storage, read_write> dy_h: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let rows = whole(0u);
    let width = whole(1u);
    let row = place(group, groups);
    let last = min(row, rows - 1u);
    let start = last * width;
    let mean = moments[last].x;
    let scale = moments[last].y;
    var sum_g = 0.0;
    var sum_gh = 0.0;
    for (var j = thread; j < width; j += 64u) {
        let g = dy[start + j] * weight[j];
        sum_g += g;
        sum_gh += g * (x[start + j] - mean) * scale;
    }
    let mean_g = sum_of_group(thread, sum_g) / f32(width);
    let mean_gh = sum_of_group(thread, sum_gh) / f32(width);
    if row >= rows {
        return;
    }
    for (var j = thread; j < width; j += 64u) {
        let h = (x[start + j] - mean) * scale;
        dx[start + j] = (dy[start + j] * weight[j] - mean_g - h * mean_gh) * scale;
        dy_h[start + j] = dy[start + j] * h;
    }
}
