// Every rule of rules/java.yml finds the line after its `ruleid` comment. Never run this.
import java.io.File;
import java.io.ObjectInputStream;
import java.security.MessageDigest;
import java.sql.Connection;
import java.sql.Statement;
import javax.crypto.Cipher;
import javax.servlet.http.HttpServletRequest;
import javax.servlet.http.HttpServletResponse;
import javax.xml.parsers.DocumentBuilderFactory;

class Vulnerable {
  void find(Connection connection, String name) throws Exception {
    Statement statement = connection.createStatement();
    // ruleid: java-sql-injection
    statement.executeQuery("select * from payment where name = '" + name + "'");
    // ruleid: java-sql-injection
    connection.prepareStatement(String.format("select * from payment where name = '%s'", name));
  }

  void archive(String name) throws Exception {
    // ruleid: java-command-injection
    Runtime.getRuntime().exec("gzip " + name);
  }

  void page(HttpServletRequest request, HttpServletResponse response) throws Exception {
    String name = request.getParameter("name");
    // ruleid: java-path-traversal
    File file = new File("statements/" + name);
    // ruleid: java-reflected-xss
    response.getWriter().println("<h1>" + name + "</h1>");
    // ruleid: java-open-redirect
    response.sendRedirect(request.getParameter("to"));
  }

  Object load(ObjectInputStream in) throws Exception {
    // ruleid: java-unsafe-deserialisation
    return in.readObject();
  }

  void parse() throws Exception {
    DocumentBuilderFactory factory = DocumentBuilderFactory.newInstance();
    // ruleid: java-xxe
    factory.newDocumentBuilder();
  }

  void secrets() throws Exception {
    // ruleid: java-weak-hash
    MessageDigest.getInstance("MD5");
    // ruleid: java-weak-cipher
    Cipher.getInstance("AES/ECB/PKCS5Padding");
  }
}
