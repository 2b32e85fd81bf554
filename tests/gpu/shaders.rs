//! Every shader is valid, and has a form in Metal's language. No compiler of Apple's checks that form here.

use genailab::nn::{LOG_THETA_MAX, LOG_THETA_MIN, gpu};
use naga::{
    back::msl,
    front::wgsl,
    valid::{Capabilities, ValidationFlags, Validator},
};

#[test]
fn every_shader_is_valid_and_is_written_for_metal() {
    let shaders = gpu::shaders();
    assert!(shaders.len() > 15, "{} shaders", shaders.len());
    for (name, source) in shaders {
        let module = wgsl::parse_str(&source).unwrap_or_else(|e| panic!("{name}: {}", e.emit_to_string(&source)));
        let info = Validator::new(ValidationFlags::all(), Capabilities::empty()).validate(&module);
        let info = info.unwrap_or_else(|e| panic!("{name}: {}", e.emit_to_string(&source)));
        let options = msl::Options { fake_missing_bindings: true, ..msl::Options::default() };
        let (metal, _) = msl::write_string(&module, &info, &options, &msl::PipelineOptions::default())
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(metal.contains("kernel void main_("), "{name}: {metal}");
    }
}

#[test]
fn the_bounds_of_theta_are_those_of_the_cpu() {
    let (_, source) = gpu::shaders().into_iter().find(|(name, _)| *name == "count_nll").expect("it is there");
    for (name, value) in [("LOG_THETA_MIN", LOG_THETA_MIN), ("LOG_THETA_MAX", LOG_THETA_MAX)] {
        assert!(source.contains(&format!("const {name}: f32 = {value};")), "{name} = {value}");
    }
}
