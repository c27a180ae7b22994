// Command export writes statements to disk; every line below that gosec dislikes is meant to be disliked.
package main

import (
	"crypto/md5"
	"fmt"
	"os"
	"os/exec"
)

func main() {
	name := os.Args[1]
	sum := md5.Sum([]byte(name))
	if err := os.WriteFile(name, sum[:], 0o666); err != nil {
		fmt.Println(err)
	}
	exec.Command("sh", "-c", "gzip "+name).Run()
	exec.Command("sync").Run() // #nosec G104 -- best effort
}
