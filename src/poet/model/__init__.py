"""The words that the whole house shares: frozen values, standard library only."""
