// In front of every shader: its numbers, and where a thread or a workgroup stands.

// Up to 12 numbers; floats as their bits.
@group(0) @binding(0) var<uniform> numbers: array<vec4<u32>, 3>;

fn whole(i: u32) -> u32 {
    return numbers[i / 4u][i % 4u];
}

fn real(i: u32) -> f32 {
    return bitcast<f32>(whole(i));
}

// A dispatch of more workgroups than one dimension holds is spread over two.
fn place(group: vec3<u32>, groups: vec3<u32>) -> u32 {
    return group.x + group.y * groups.x;
}
