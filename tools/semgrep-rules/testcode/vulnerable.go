// Package testcode: every rule of rules/go.yml finds the line after its `ruleid` comment. Never run this.
package testcode

import (
	"crypto/md5"
	"crypto/tls"
	"database/sql"
	"fmt"
	"math/rand"
	"net/http"
	"os"
	"os/exec"
)

func find(db *sql.DB, name string) {
	// ruleid: go-sql-injection
	db.Query(fmt.Sprintf("select * from payment where name = '%s'", name))
	// ruleid: go-sql-injection
	db.Exec("delete from payment where name = '" + name + "'")
}

func archive(name string) error {
	// ruleid: go-command-injection
	return exec.Command("sh", "-c", "gzip "+name).Run()
}

func statement(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("name")
	// ruleid: go-path-traversal
	data, _ := os.ReadFile("statements/" + name)
	// ruleid: go-reflected-xss
	fmt.Fprintf(w, "<h1>%s</h1>", name)
	_ = data
}

func back(w http.ResponseWriter, r *http.Request) {
	// ruleid: go-open-redirect
	http.Redirect(w, r, r.FormValue("to"), http.StatusFound)
}

func proxy(r *http.Request) {
	// ruleid: go-ssrf
	http.Get(r.FormValue("url"))
}

func secrets() string {
	// ruleid: go-weak-hash
	sum := md5.Sum([]byte("x"))
	// ruleid: go-insecure-random
	return fmt.Sprint(sum, rand.Int63())
}

func client() *http.Transport {
	// ruleid: go-tls-unverified
	return &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
}
