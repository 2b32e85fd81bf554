//! The size of a model that suits data and machine.

use genailab::{
    device::{Device, Resources},
    model::presets::{SIZES, largest_for, suited},
};

fn on(device: Device, cores: usize, gigabytes: u64) -> &'static str {
    let memory = Some(gigabytes << 30);
    largest_for(device, Resources { cores, memory, available: memory }).0
}

#[test]
fn a_machine_is_meant_for_a_size() {
    assert_eq!(on(Device::Cuda(0), 4, 8), "large");
    assert_eq!(on(Device::Cpu, 16, 64), "medium");
    assert_eq!(on(Device::Cpu, 16, 8), "small");
    assert_eq!(on(Device::Cpu, 2, 24), "small");
    assert_eq!(on(Device::Cpu, 2, 2), "tiny");
    let unsaid = Resources { cores: 8, memory: None, available: None };
    let (size, why) = largest_for(Device::Cpu, unsaid);
    assert_eq!((size, why.as_str()), ("medium", "a CPU with 8 cores"));
}

#[test]
fn the_data_asks_and_the_machine_limits() {
    for (place, &size) in SIZES.iter().enumerate() {
        assert_eq!(suited("tiny", size), "tiny");
        assert_eq!(suited("small", size), if place == 0 { "tiny" } else { "small" });
    }
    assert_eq!(suited("medium", "small"), "small");
    assert_eq!(suited("medium", "medium"), "medium");
    assert_eq!(suited("medium", "large"), "large", "the most that data asks for");
}
