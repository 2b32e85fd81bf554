//! The mathematics of diffusions and flows, against closed forms, simulation and Python (tests/reference/diffusion.py).
//!
//! Five mistakes of the Python original that this library replaces are pinned right: the exponent of alpha_bar
//! (`schedules::alpha_bar_is_exp_of_minus_the_integral`), the sign of the adaptive solver (`ode::backward_and_forward_...`), the start
//! of VE samplers (`samplers::the_prior_of_ve_...`), the diffusion coefficient of VE (`schedules::moments_...`), and times of any unit
//! (`samplers::the_network_is_asked_at_the_diffusion_s_own_times`).

mod common;
mod flows;
mod guidance;
mod likelihood;
mod mistakes;
mod ode;
mod parameterization;
mod samplers;
mod schedules;
