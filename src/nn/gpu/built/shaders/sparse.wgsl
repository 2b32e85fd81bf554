// out = V M, out += V M, or out = bias + V M, for a sparse V; row-major M and out of `width` columns. One thread per
// element of out. V is a list of (column, factor as its bits) for each of its rows, between starts[row] and the next.

@group(0) @binding(1) var<storage, read> starts: array<u32>;
@group(0) @binding(2) var<storage, read> entries: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read> matrix: array<f32>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;

const ADD = 1u;
const BIAS = 2u;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let rows = whole(0u);
    let width = whole(1u);
    let mode = whole(2u);
    let i = place(group, groups) * 64u + thread;
    if i >= rows * width {
        return;
    }
    let row = i / width;
    let column = i % width;
    var sum = 0.0;
    if mode == ADD {
        sum = out[i];
    } else if mode == BIAS {
        sum = bias[column];
    }
    for (var at = starts[row]; at < starts[row + 1u]; at++) {
        sum += bitcast<f32>(entries[at].y) * matrix[entries[at].x * width + column];
    }
    out[i] = sum;
}
