// out = A B, out += A B, or out = bias + A B, for (m, k) A and (k, n) B in any strides; out is row-major (m, n).
//
// A workgroup of 16 x 16 threads computes a tile of 64 x 64: the 16 columns of A and rows of B that it needs next are
// brought to workgroup memory by all threads together, and each thread sums 4 x 4 elements in registers.

@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

var<workgroup> a_tile: array<f32, 1024>; // 16 (k) x 64 (rows)
var<workgroup> b_tile: array<f32, 1024>; // 16 (k) x 64 (columns)

const SET = 0u;
const ADD = 1u;
const BIAS = 2u;

@compute @workgroup_size(16, 16)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let m = whole(0u);
    let n = whole(1u);
    let k = whole(2u);
    let a_row = whole(3u);
    let a_column = whole(4u);
    let b_row = whole(5u);
    let b_column = whole(6u);
    let mode = whole(7u);
    let first_row = group.y * 64u;
    let first_column = group.x * 64u;
    var sums: array<array<f32, 4>, 4>;
    for (var first_depth = 0u; first_depth < k; first_depth += 16u) {
        for (var part = 0u; part < 4u; part++) {
            let i = thread + 256u * part;
            // Neighbouring threads read neighbouring elements, whichever way the matrix lies.
            var depth = i % 16u;
            var line = i / 16u;
            if a_column != 1u {
                depth = i / 64u;
                line = i % 64u;
            }
            var value = 0.0;
            if first_row + line < m && first_depth + depth < k {
                value = a[(first_row + line) * a_row + (first_depth + depth) * a_column];
            }
            a_tile[depth * 64u + line] = value;
            depth = i / 64u;
            line = i % 64u;
            if b_column != 1u {
                depth = i % 16u;
                line = i / 16u;
            }
            value = 0.0;
            if first_column + line < n && first_depth + depth < k {
                value = b[(first_depth + depth) * b_row + (first_column + line) * b_column];
            }
            b_tile[depth * 64u + line] = value;
        }
        workgroupBarrier();
        for (var depth = 0u; depth < 16u; depth++) {
            let at = depth * 64u;
            let row = vec4<f32>(
                a_tile[at + local.y], a_tile[at + local.y + 16u], a_tile[at + local.y + 32u], a_tile[at + local.y + 48u],
            );
            let column = vec4<f32>(
                b_tile[at + local.x], b_tile[at + local.x + 16u], b_tile[at + local.x + 32u], b_tile[at + local.x + 48u],
            );
            for (var i = 0u; i < 4u; i++) {
                for (var j = 0u; j < 4u; j++) {
                    sums[i][j] += row[i] * column[j];
                }
            }
        }
        workgroupBarrier();
    }
    for (var i = 0u; i < 4u; i++) {
        let row = first_row + local.y + 16u * i;
        for (var j = 0u; j < 4u; j++) {
            let column = first_column + local.x + 16u * j;
            if row < m && column < n {
                let at = row * n + column;
                var start = 0.0;
                if mode == ADD {
                    start = out[at];
                } else if mode == BIAS {
                    start = bias[column];
                }
                out[at] = start + sums[i][j];
            }
        }
    }
}
