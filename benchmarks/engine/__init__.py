"""The engine beside `llama_cpp.Llama`, part by part; `python -m benchmarks.engine` runs them."""
