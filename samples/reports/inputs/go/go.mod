module payments.example/export

go 1.21
