//! Plans a SQL file with the planner alone, and prints the plan: `cargo run --example explain -- FILE`.

use weir_planner::{AnyCatalog, explain, plan};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args().nth(1).ok_or("which file?")?;
    let sql = std::fs::read_to_string(&file)?;
    match plan(&sql, &AnyCatalog) {
        Ok(planned) => {
            for warning in &planned.warnings {
                eprintln!("{}", warning.render(&file, &sql));
            }
            planned.explains.iter().for_each(|text| println!("{text}"));
            println!("{}", explain(&planned.plan));
        }
        Err(mistakes) => println!("{}", mistakes.render(&file, &sql)),
    }
    Ok(())
}
