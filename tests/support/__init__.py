"""The ground that tests and benches stand on: emulated links, injected faults, processes, peers to compare with."""
