"""What leaves a store for others, and what comes from them: packages of parameters, tables of executions."""
