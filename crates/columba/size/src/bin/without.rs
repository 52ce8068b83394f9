//! What any program has.

fn main() {
    println!("hello");
}
