"""The kernel's side: what pyfuse3 asks, translated to the core and back. Nobody else imports pyfuse3."""
