"""Who may act: users, passwords, daily limits. Knows no media."""
