"""What pipelines can use besides their own repository: one small file for each kind of thing."""
