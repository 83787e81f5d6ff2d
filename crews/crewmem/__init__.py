"""What a CrewAI project imports."""
