"""Pictures and pages of a session: SVG and HTML, nothing but text that is safe by its making."""
