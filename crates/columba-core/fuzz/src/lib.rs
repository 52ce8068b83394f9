//! Scripts for a broker, decoded from the bytes of a fuzzer, and what has to hold whatever they do. With
//! `COLUMBA_FUZZ_PRINT` in the environment every call and packet is printed.
#![forbid(unsafe_code)]

mod build;
mod bus;
mod model;
mod naive;
pub mod script;
pub mod seeds;
mod source;
pub mod topics;
mod world;
