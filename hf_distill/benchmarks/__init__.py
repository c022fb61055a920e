"""How fast the package is beside what one would write oneself: measured on this machine, reckoned for others."""
